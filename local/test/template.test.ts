import { Template } from '../template';

const template = new Template(
  {
    Parameters: { Image: { Default: 'ami-1' } },
    Resources: {
      Bucket: { Type: 'AWS::S3::Bucket', Properties: {} },
      Network: { Type: 'AWS::EC2::VPC', Properties: { CidrBlock: '10.0.0.0/16' } },
    },
  },
  (id, _resource, attribute) => (attribute ? `${id}/${attribute}` : id.toLowerCase()),
);

test.each([
  ['Ref of a resource', { Ref: 'Bucket' }, 'bucket'],
  ['Ref of a parameter', { Ref: 'Image' }, 'ami-1'],
  ['Ref of a pseudo parameter', { Ref: 'AWS::Region' }, 'us-east-1'],
  ['GetAtt', { 'Fn::GetAtt': ['Network', 'CidrBlock'] }, 'Network/CidrBlock'],
  ['Join', { 'Fn::Join': ['-', ['a', { Ref: 'Bucket' }]] }, 'a-bucket'],
  [
    'Sub',
    { 'Fn::Sub': '${Bucket} ${Network.CidrBlock} ${!Kept} ${AWS::Partition}' },
    'bucket Network/CidrBlock ${Kept} aws',
  ],
  ['Sub with names', { 'Fn::Sub': ['${x}', { x: { Ref: 'Bucket' } }] }, 'bucket'],
  ['Select of zones', { 'Fn::Select': [1, { 'Fn::GetAZs': '' }] }, 'us-east-1b'],
  ['Select of Split', { 'Fn::Select': [1, { 'Fn::Split': ['/', 'a/b'] }] }, 'b'],
  ['Base64 as clear text', { 'Fn::Base64': { 'Fn::Join': ['', ['x', 'y']] } }, 'xy'],
])('resolves %s', (_what, value, expected) => {
  expect(template.resolve(value)).toBe(expected);
});

test('resolves what is inside lists and maps', () => {
  expect(template.resolve({ list: [{ Ref: 'Bucket' }, 1], deep: { name: { Ref: 'Bucket' } } })).toEqual({
    list: ['bucket', 1],
    deep: { name: 'bucket' },
  });
});

test('fails when a function or a reference is unknown', () => {
  expect(() => template.resolve({ 'Fn::Cidr': [] })).toThrow('the local cluster does not know Fn::Cidr');
  expect(() => template.resolve({ Ref: 'Nothing' })).toThrow('refers to Nothing');
});

test('fails when a type is not there exactly once', () => {
  expect(() => template.only('AWS::SNS::Topic')).toThrow('expected one AWS::SNS::Topic in the template, found 0');
});
